"Every notebook runs from top to bottom, and shows what was saved with it; the ones in nbs/cells are papermill's to run."
import copy, re
import matplotlib.pyplot as plt, pytest
from execnb.shell import CaptureShell
from fastcore.xtras import working_directory
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

cfg = get_config()
notebooks = sorted(p for p in nbglob(as_path=True) if p.parent.name!='cells')
SHOWN = 'text/html', 'image/png', 'text/markdown', 'text/plain'

def directives(cell): return getattr(cell, 'directives_', None) or {}

def kinds(outputs):
    "What a reader sees of a cell, a word for each output; warnings and the like are not meant for them"
    seen = [o for o in outputs if o['output_type']!='stream' or o['name']=='stdout']
    return ['text' if o['output_type']=='stream' else next((k for k in SHOWN if k in o.get('data', {})), o['output_type']) for o in seen]

def printed(outputs):
    "What a cell prints, but for its numbers: times, and sums whose last digits depend on the processor"
    text = ''.join(''.join(o['text']) for o in outputs if o['output_type']=='stream' and o['name']=='stdout')
    return re.sub(r'\s+', ' ', re.sub(r'-?\d[\d,.]*(e[-+]?\d+)?', '#', text)).strip()

def run(path, skipped):
    "Run a notebook; the cells that ran, each with the outputs it was saved with"
    nb = NBProcessor(path, procs=FrontmatterProc, process=True).nb
    saved = {c.id: copy.deepcopy(c.get('outputs', [])) for c in nb.cells}
    def is_left_out(c): return c.cell_type!='code' or directives(c).get('eval:', [''])[0].lower()=='false' or bool(skipped & directives(c).keys())
    shell = CaptureShell(path)
    try:
        with working_directory(path.parent): shell.run_all(nb, exc_stop=True, preproc=is_left_out)
    except Exception: pytest.fail(f'{path.name}: {shell.prettytb(fname=path)}', pytrace=False)
    finally: plt.close('all')
    return [(c, saved[c.id]) for c in nb.cells if not is_left_out(c)]

@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.relative_to(cfg.nbs_path).as_posix())
def test_notebook(path, request, monkeypatch):
    skipped = set(cfg.tst_flags.split()) - ({'slow'} if request.config.getoption('--slow') else set())
    monkeypatch.syspath_prepend(str(cfg.config_path))
    monkeypatch.setenv('IN_TEST', '1')
    seen = [(c, was) for c,was in run(path.absolute(), skipped) if not {'hide', 'include'} & directives(c).keys()]
    other = [c.id for c,was in seen if kinds(was)!=kinds(c.get('outputs', []))]
    assert not other, f'{path.name}: cells {", ".join(other)} show something else than what was saved with them: run them again'
    texts = {c.id: (printed(was), printed(c.get('outputs', []))) for c,was in seen}
    assert not (odd := {i: t for i,t in texts.items() if t[0]!=t[1]}), f'{path.name}: saved, and printed now: {odd}'
