"""Does a change of the code change the weights that come out? Two commits, the same networks and settings, to the bit.

    python tools/same_weights.py BEFORE [AFTER] [--case PART] [--time N]

BEFORE and AFTER are anything git knows as a commit; AFTER is the working tree if it is left out. Each is unpacked into a
scratch folder and runs in a process of its own. With `--time N` the ResNet-20 of ../shared is quantized N times by either,
in turns, and the medians of processor time are compared. Exit status 1 if any weight differs.
"""
import argparse, hashlib, json, os, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path

root = Path(__file__).resolve().parent.parent
shared = root.parent/'shared'

# -- the networks

def networks():
    "name -> (network, calibration inputs); those of ../shared where it is"
    import torch
    from torch import nn
    torch.manual_seed(0)

    class Block(nn.Module):
        "Two convolutions and a shortcut"
        def __init__(self, n):
            super().__init__()
            self.conv1,self.bn1 = nn.Conv2d(n, n, 3, padding=1, bias=False),nn.BatchNorm2d(n)
            self.conv2,self.bn2 = nn.Conv2d(n, n, 3, padding=1, groups=2),nn.BatchNorm2d(n)
        def forward(self, x): return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + x).relu()

    class Twin(nn.Sequential):
        "The same, but with a branch on data, which cannot be traced"
        def forward(self, x): return super().forward(x if x.sum()>-1e9 else -x)

    def conv(kind=nn.Sequential):
        stem = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
        tail = [nn.Conv2d(8, 24, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10)]
        return kind(*stem, Block(8), *tail)

    def settled(net, x):
        "With running statistics of its own, in eval mode"
        with torch.no_grad():
            for _ in range(20): net(x)
        return net.eval()

    x = torch.randn(48, 3, 12, 12)
    convs = settled(conv(), x)
    twin = conv(Twin)
    twin.load_state_dict(convs.state_dict())
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(432, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10))
    out = dict(conv=(convs, [x[:32], x[32:]]), twin=(twin.eval(), [x[:32], x[32:]]), mlp=(mlp.eval(), [x[:32], x[32:]]))
    if shared.exists():
        from gpfq_nb.data import load_dataset
        from gpfq_nb.models import load_model
        data = load_dataset(f'npz:{shared}/cifar10/cifar10-lossless-subset.npz', normalize='imagenet')
        model,_ = load_model(shared/'pretrained/resnet20-cifar10.safetensors', 'resnet20')
        out['resnet20'] = model.eval(),data.calibration(256, seed=0, batch_size=128)
    return out

# -- the settings

def cases():
    "(name, networks, config of QuantConfig, options of quantize_model)"
    from gpfq_nb.quantize import QuantConfig
    every,small,graph = ('conv','twin','mlp','resnet20'),('conv','twin','mlp'),('conv','resnet20')
    presets = dict(paper=QuantConfig.paper, plain=QuantConfig.plain, default=QuantConfig)
    for name,preset in presets.items():
        for b in (2, 3, 4): yield f'{name} {b}',every,preset(bits=b),{}
    yield 'ternary',every,QuantConfig(bits=2, levels='symmetric'),{}
    yield 'average of 2.5',every,QuantConfig(bits=2.5),{}
    yield 'inputs at 8',every,QuantConfig(bits=4, act_bits=8),{}
    yield 'L0',every,QuantConfig.plain(bits=4, regularizer='L0', lamb=.002),{}
    yield 'L1',every,QuantConfig.plain(bits=4, regularizer='L1', lamb=.01),{}
    yield 'stochastic',every,QuantConfig.plain(bits=4, rounding='stochastic'),{}
    yield 'stochastic qronos',small,QuantConfig.plain(bits=3, method='qronos', rounding='stochastic'),{}
    yield 'qronos',every,QuantConfig(bits=3, method='qronos'),{}
    yield 'gpfq searched',every,QuantConfig(bits=3, method='gpfq'),{}
    yield 'gptq alone',every,QuantConfig.plain(bits=3, method='gptq'),{}
    yield 'msq',every,QuantConfig(bits=3, method='msq'),{}
    yield 'samples',small,QuantConfig.plain(bits=3, form='samples'),{}
    yield 'gram',small,QuantConfig.plain(bits=3, form='gram'),{}
    yield 'per layer',small,QuantConfig(bits=3, granularity='layer'),{}
    yield 'quarter of the patches',('conv','resnet20'),QuantConfig(bits=3, retain_rate=.25),{}
    yield 'dead to zero',small,QuantConfig(bits=3, dead='zero'),{}
    yield 'correction',every,QuantConfig(bits=3, correct=True),{}
    yield 'fused',graph,QuantConfig(bits=3, fuse_bn=True),{}
    yield 'fused and corrected',graph,QuantConfig(bits=3, fuse_bn=True, correct=True),{}
    yield 'overrides and skip',every,QuantConfig(bits=3, skip=(0,), overrides={-1: dict(bits=8, method='gpfq')}),{}
    yield 'little memory',('conv','twin'),QuantConfig(bits=3),dict(max_memory=6*2**20)
    yield 'little memory, averaged',('conv',),QuantConfig(bits=2.5, correct=True),dict(max_memory=6*2**20)

def digest(res):
    "A hash of every tensor of the quantized network, grids of its inputs included"
    h = hashlib.sha256()
    for name,t in [*res.model.state_dict().items(), *((n, a.step) for n,a in res.inputs.items())]:
        h.update(name.encode())
        h.update(t.detach().contiguous().numpy().tobytes())
    return h.hexdigest()[:16]

def quantize_all(part, times=1):
    "Print one JSON line a case and network; with `times`, the first one warms up and the rest are timed"
    import torch
    from gpfq_nb.quantize import quantize_model
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    nets = networks()
    for name,which,config,options in cases():
        for n in which:
            if n not in nets or part not in f'{name}/{n}': continue
            model,xs = nets[n]
            seconds = []
            for _ in range(times):
                start = time.process_time()
                res = quantize_model(model, xs, config, progress=False, **options)
                seconds.append(time.process_time()-start)
            weights = sum(p.numel() for p in res.model.parameters())
            row = dict(case=name, network=n, hash=digest(res), weights=weights, seconds=statistics.median(seconds[1:] or seconds))
            print(json.dumps(row), flush=True)

# -- both commits

def unpack(commit, folder):
    "A commit's package below `folder`"
    folder.mkdir()
    archive = subprocess.run(['git','archive',commit,'gpfq_nb'], cwd=root, check=True, capture_output=True).stdout
    subprocess.run(['tar','-x','-C',folder], input=archive, check=True)
    return folder

def quantized(package, part='', times=1):
    "(case, network) -> what `quantize_all` says of it, with the package below a folder"
    env = dict(os.environ, PYTHONPATH=str(package), PYTHONDONTWRITEBYTECODE='1')
    said = subprocess.run([sys.executable,__file__,'--run',part,str(times)], cwd=root, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [json.loads(line) for line in said.splitlines()]
    return {(r['case'], r['network']): r for r in rows}

def compare(before, after):
    "Print a table of two runs; how many cases differ"
    if before.keys()!=after.keys(): sys.exit('the two ran different cases')
    print(f"{'settings':28} {'network':10} {'tensors before':18} after")
    for (case,net),b in before.items():
        a = after[case,net]['hash']
        print(f"{case:28} {net:10} {b['hash']:18} {'the same' if a==b['hash'] else a + '  DIFFERENT'}")
    return sum(before[k]['hash']!=after[k]['hash'] for k in before)

def timed(packages, n):
    "Print the medians of processor time of the default at 4 bits on the ResNet-20, in turns"
    seconds = [[], []]
    for _ in range(n):
        for s,p in zip(seconds, packages): s.append(quantized(p, 'default 4/resnet20', 3)['default 4','resnet20']['seconds'])
    before,after = map(statistics.median, seconds)
    print(f'ResNet-20, default at 4 bits, {n} processes each in turns, two runs in each after one to warm up: {before:.2f} s before, {after:.2f} s after, ratio {after/before:.3f}')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('before')
    p.add_argument('after', nargs='?')
    p.add_argument('--case', default='', help='only what has this in `settings/network`')
    p.add_argument('--time', type=int, default=0, help='runs to time')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as t:
        packages = unpack(a.before, Path(t)/'before'),unpack(a.after, Path(t)/'after') if a.after else root
        off = compare(*(quantized(p, a.case) for p in packages))
        if not shared.exists(): print('../shared is not here: its ResNet-20 was left out')
        if a.time: timed(packages, a.time)
    sys.exit(f'{off} differ' if off else 0)

if __name__=='__main__':
    if sys.argv[1:2]==['--run']: quantize_all(sys.argv[2], int(sys.argv[3]))
    else: main()
