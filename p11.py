exec(open('/tmp/w/n11/lib.py').read())
# 04
cs=cells('/tmp/w/n11/04_problem.txt')
i=[k for k,c in enumerate(cs) if 'def columns(self:Problem' in c][0]
cs.insert(i,'''#%%%% markdown
A column whose energy is beneath what float32 can tell from nothing, next to the others or altogether, counts as one without an input: dividing by it would give weights that are no numbers.

''')
cs.insert(i+1,'''#%%%% code
#| export
TINY = 1e-30    # an energy near where float32 loses digits
FAINT = 1e-14   # share of the largest energy: inputs of less than its rounding errors

def audible(
    G:Tensor,       # X̃ᵀX̃ (groups, d, d)
    D:Tensor=None,  # (X-X̃)ᵀX̃ (groups, d, d)
) -> tuple:         # G and D
    "Matrices without the columns of next to no energy, which are set to zero"
    energy = G.diagonal(dim1=-2, dim2=-1)
    floor = max(TINY, FAINT*energy.max().item())
    faint = (energy>0) & (energy<=floor)
    if not faint.any(): return G,D
    heard = ~faint[...,:,None] & ~faint[...,None,:]
    return G*heard,None if D is None else D*heard

''')
cs.insert(i+2,'''#%%%% code
X = torch.randn(50, 4)*torch.tensor([1, 1e-22, 1e-3, 0])
G,D = audible((X.T@X)[None], (X.T@X)[None])
test_eq(G[0].diagonal()>0, torch.tensor([True, False, True, False]))
test_eq(D[0,1].abs().sum(), 0)
test_eq(G[0,0,2], (X.T@X)[0,2])

''')
save(cs,'/tmp/w/n11/04_problem.txt')
cs=cells('/tmp/w/n11/06_samples.txt')
sub(cs,"        g = G.diagonal(dim1=-2, dim2=-1)[:,None]\n        scale","        g = G.diagonal(dim1=-2, dim2=-1)[:,None]\n        g = torch.where(g.abs()<TINY, 0., g)                            # next to no input at all\n        scale")
print([c for c in cs if 'from gpfq_nb.problem' in c or 'import' in c and 'export' in c][:1])
save(cs,'/tmp/w/n11/06_samples.txt')
cs=cells('/tmp/w/p11/11_layer.txt')
sub(cs,"    if shared: known.append((layer, G, D))\n    return G,D","    if shared: known.append((layer, G, D))\n    return audible(G, D)")
sub(cs,"        def part(M): return M[:,at][...,at]\n        return part(G), None if D is None else part(D)","        def part(M): return M[:,at][...,at]\n        return audible(part(G), None if D is None else part(D))")
sub(cs,"from gpfq_nb.problem import Problem, check_shapes, damped","from gpfq_nb.problem import Problem, audible, check_shapes, damped")
sub(cs,'''    except ValueError as e:
        if "not finite" not in str(e): raise
        raise ValueError(f"layer {name}: its inputs are not finite on the calibration data: "
            "look for overflow or NaN in the layers before it") from None
    fitted = replace(fitted, step=grid.step.view_as(fitted.step))
    return outcome(''','''    except ValueError as e:
        if "not finite" not in str(e): raise ValueError(f"layer {name}: {e}") from None
        raise ValueError(f"layer {name}: its inputs are not finite on the calibration data: "
            "look for overflow or NaN in the layers before it") from None
    if not Q.isfinite().all(): raise ValueError(f"layer {name}: weights came out that are not finite: skip it")
    fitted = replace(fitted, step=grid.step.view_as(fitted.step))
    return outcome(''')
i=[k for k,c in enumerate(cs) if 'def solve_layer(' in c][0]
cs.insert(i+1,'''#%%%% markdown
The rows of an embedding are looked up, and nothing is summed in which their errors could make up for each other: each is put on a grid of its own, as close as it gets. That is the same problem with $G=I$.

''')
cs.insert(i+2,'''#%%%% code
#| export
def solve_rows(
    layer:nn.Module,        # with a weight whose rows are looked up
    config:QuantConfig,     # of this layer
    name:str="layer"        # seeds its randomness
)->Outcome:
    "Put rows on grids of their own, each as close to what it was as a grid allows"
    W = weight_rows(layer)
    fitted = fit_grid(W, config)
    G = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)[None]
    p = Problem(W=W, G=G, grid=fitted.grouped(1), rounding=config.rule, lamb=config.lamb,
        generator=torch.Generator(W.device).manual_seed(layer_seed(config, name)), dead=config.dead)
    if not config.solver.looks: return outcome(layer, config.solver.solve(p), fitted)
    Q,grid = solve_gram(p, config)
    return outcome(layer, Q, replace(fitted, step=grid.step.view_as(fitted.step)))

''')
cs.insert(i+3,'''#%%%% code
table = nn.Linear(12, 40, bias=False)
default,plain = (solve_rows(table, c) for c in (QuantConfig(bits=3), QuantConfig.plain(3)))
test_eq(plain.Q, plain.grid.round(table.weight.data))
test_eq(default.Q, default.grid.round(table.weight.data))
assert ((default.Q-table.weight)**2).sum() < ((plain.Q-table.weight)**2).sum()

''')
save(cs,'/tmp/w/n11/11_layer.txt')
