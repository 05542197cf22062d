"""A finished study of any size, on disk, without running it: to measure what planning, status, resuming and log cost.

    python tools/many_cells.py FOLDER 1000 100      a study FOLDER of 1,000 trainings, each quantized in 100 ways
    python tools/many_cells.py FOLDER plan status   the seconds that each step takes, one after the other: plan, status,
                                                    log, run (a resume with nothing to do); and the peak of the memory

Every result is what a cell would have written, under the key that the study asks for; weights are a few bytes.
Numbers are printed as one line of JSON. A step finds nothing in memory but what the steps before it have left there.
"""
import json, os, sys, time
from collections import Counter
from pathlib import Path
from gpfq_nb.config import QuantConfig
from gpfq_nb.execute import template_hash
from gpfq_nb.files import file_hash, jsonable
from gpfq_nb.recipe import TrainConfig
from gpfq_nb.result import cell_key
from gpfq_nb.rows import example_result
from gpfq_nb.study import Study
from gpfq_nb.toys import toy_templates

BITS = 2,3,4,5,6

def write(path, text):
    "A file, as old as one that was not written just now: whoever reads it may remember what it said"
    path.write_text(text)
    then = time.time() - 3600
    os.utime(path, (then, then))

def study_of(folder, trainings, quantizations):
    "The study: seeds to train with, and five bit widths with as many seeds of calibration as it takes"
    folder = Path(folder).absolute()
    calib_seeds = range(quantizations//len(BITS))
    return Study(folder.name, seeds=range(trainings), bits=BITS, variants=dict(default={}), calib_seeds=calib_seeds,
        root=str(folder.parent), templates='templates')

def make(folder, trainings=1000, quantizations=100):
    "Write study, weights and results; returns the study"
    s = study_of(folder, trainings, quantizations)
    toy_templates(s.folder/'templates')
    templates = {k: template_hash(s.template(k)) for k in ('train','quantize')}
    shas = {}
    for t in s.tasks():
        t.out.mkdir(parents=True)
        weights = shas[t.needs.cell] if t.needs else ''
        key = cell_key(t.kind, t.params, templates[t.kind], weights)
        if t.kind == 'train':
            write(t.out/'weights.safetensors', t.cell)
            shas[t.cell] = weights = file_hash(t.out/'weights.safetensors')
            file = 'weights.safetensors'
        else: file = f'../../train/{t.needs.cell}/weights.safetensors'
        lr,seed = (t.needs or t).params['lr'],(t.needs or t).params['seed']
        r = example_result(t.kind, float(lr), seed, t.params.get('bits', 4), 'gpfq', t.params.get('calib_seed', 0))
        r |= dict(key=key, params=jsonable(t.params), weights=dict(file=file, sha256=weights))
        if t.kind == 'quantize': r['config'] = jsonable(QuantConfig(t.params['bits'], seed=t.params['calib_seed']))
        else: r['training'] = jsonable(TrainConfig(lr=lr, seed=seed))
        write(t.out/'result.json', json.dumps(r, indent=2))
    s.save()
    return s

def measure(folder, steps):
    "Seconds of each step, how often a result was opened on the average, megabytes at the peak"
    import resource
    import gpfq_nb.files, gpfq_nb.sweep
    opened = Counter()
    def counted(path, *args, **kwargs):
        opened[os.path.basename(path)] += 1
        return open(path, *args, **kwargs)
    gpfq_nb.files.open = counted
    start = time.perf_counter()
    s = Study.load(folder)
    calls = dict(plan=s.plan, status=s.status, log=s.log, run=lambda: s.run(progress=False))
    said = dict(cells=len(s.tasks()), load=time.perf_counter() - start)
    for step in steps:
        start = time.perf_counter()
        said[step] = calls[step]()
        if step in ('status','run'): assert set(said[step].state)=={'done'}
        said[step] = time.perf_counter() - start
    said['opened'] = opened['result.json']/said['cells']
    return said | dict(megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)

if __name__ == '__main__':
    folder,*what = sys.argv[1:]
    if what and what[0].isdigit():
        s = make(folder, *map(int, what))
        print(f'{len(s.tasks()):,} cells in {s.folder}')
    else: print(json.dumps(measure(folder, what)))
