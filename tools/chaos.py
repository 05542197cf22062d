"""Kill a sweep at random, again and again, and look for what was lost.

    python tools/chaos.py [--kills 60] [--seed 0] [--cells 24]

A study of quick notebooks runs in a process of its own. At random moments SIGKILL hits the sweep itself, one of its workers,
one of the kernels, or all of them at once; the study is taken up again, and when it is done a new one begins. After every kill,
and at the end, three things are counted. Lost: a cell that was done and no longer is, or has other files than it had. Torn: a
file of a cell or study that cannot be read whole, notebooks included, or weights that are not those of their result. Left over:
what is still in the temporary folder after the next start, and hidden files in a study that is done. Any of them is an error.
"""
import argparse, hashlib, json, random, signal, subprocess, sys, tempfile, time
from collections import Counter
from pathlib import Path

import nbformat, psutil
from gpfq_nb.execute import PREFIX, alive, read_error, scratch_root, toy_templates
from gpfq_nb.log import read_csv_log, read_result
from gpfq_nb.sweep import Study

RUN = 'import sys; from gpfq_nb.sweep import Study; Study.load(sys.argv[1]).run(workers=2, progress=False)'
VICTIMS = ('sweep', 'worker', 'kernel', 'all')

def new_study(root, n, cells):
    "A study of about so many cells, whose notebooks do next to nothing"
    lrs = [round(.01*(i+1), 2) for i in range(max(1, cells//4))]
    study = Study(f'study{n}', lrs=lrs, bits=(2, 3, 4), variants=dict(default={}), root=str(root), templates=str(root/'toy'), train=dict(sleep=.05))
    study.save()
    return study

def start(study):
    "The sweep, in a process and a group of its own"
    return subprocess.Popen([sys.executable, '-c', RUN, str(study.folder)], start_new_session=True, stderr=subprocess.PIPE)

def processes(p):
    "The sweep's descendants: workers, and kernels, which are sessions of their own"
    try: kids = psutil.Process(p.pid).children(recursive=True)
    except psutil.NoSuchProcess: return [], []
    kernels = [k for k in kids if is_running(k, 'ipykernel_launcher')]
    workers = [k for k in kids if is_running(k, 'spawn_main')]
    return workers, kernels

def is_running(process, what):
    "Is this the command of a process that is still there?"
    try: return any(what in a for a in process.cmdline())
    except psutil.Error: return False

def wait_for_work(p):
    "Until the sweep has workers, or has ended"
    while p.poll() is None and not processes(p)[0]: time.sleep(.05)

def kill(p, draw):
    "SIGKILL to one of those that are there; what was hit, '' if the sweep has ended"
    workers,kernels = processes(p)
    if p.poll() is not None: return ''
    sweep = [psutil.Process(p.pid)]
    there = dict(sweep=sweep, worker=workers[:1], kernel=kernels[:1], all=sweep + workers + kernels)
    victim = draw.choice([v for v in VICTIMS if there[v]])
    for t in there[victim]:
        try: t.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess: pass
    if victim in ('sweep', 'all'):
        p.wait()
        psutil.wait_procs(workers + kernels, timeout=15)                       # nobody outlives the sweep
    return victim

# -- what is looked for

def digest(path): return hashlib.sha256(path.read_bytes()).hexdigest()

def finished_cells(study):
    "The cells that are done, each with a hash of every file that belongs to its result"
    done = {}
    for t in study.tasks():
        try: r = read_result(t.out/'result.json')
        except (OSError, ValueError): continue
        if r['key'] == study.key(t): done[t.kind, t.cell] = {f.name: digest(f) for f in t.out.iterdir() if f.is_file() and f.name != 'runs.txt' and f.name[0] != '.'}
    return done

def torn_files(study):
    "Files that cannot be read whole"
    torn = []
    readers = {'result.json': read_result, 'error.json': read_error, 'params.json': lambda p: json.loads(p.read_text()), 'log.csv': read_csv_log,
        'study.json': lambda p: Study.load(p.parent), 'notebook.ipynb': whole_notebook, 'error.ipynb': lambda p: nbformat.validate(nbformat.read(p, 4))}
    for f in study.folder.rglob('*'):
        if f.name not in readers or any(part.startswith('.') for part in f.relative_to(study.folder).parts): continue
        try: readers[f.name](f)
        except Exception as e: torn.append(f'{f.relative_to(study.folder)}: {e}')
    for t in study.train_tasks():
        if not (t.out/'result.json').exists(): continue
        if digest(t.out/'weights.safetensors') != read_result(t.out/'result.json')['weights']['sha256']: torn.append(f'{t.cell}: weights of another result')
    return torn

def whole_notebook(path):
    "A notebook that was executed to its end; raises otherwise"
    nb = nbformat.read(path, 4)
    nbformat.validate(nb)
    last = [c for c in nb.cells if c.cell_type == 'code'][-1]
    if last.execution_count is None or nb.metadata.papermill.get('exception') or not nb.metadata.papermill.get('end_time'): raise ValueError('not executed to its end')

def hidden(study): return [f for f in study.folder.rglob('.*') if f.name != '.lock']

def deserted(): return [d for d in scratch_root().glob(f'{PREFIX}*-*') if not alive(int(d.name.split('-')[1]))]

def main(kills=60, seed=0, cells=24):
    "Run, kill and resume; what was counted"
    draw,root,found = random.Random(seed), Path(tempfile.mkdtemp(prefix='chaos-')), Counter()
    toy_templates(root/'toy')
    studies,study,p,known = [], None, None, {}
    while found['killed'] < kills or study is not None:
        if study is None:                                                      # the last one is done
            study,known = new_study(root, len(studies), cells), {}
            studies.append(study)
        if p is None:
            p = start(study)
            found['starts'] += 1
        more = found['killed'] < kills
        if more: wait_for_work(p)
        try: p.wait(draw.uniform(0, 5) if more else 600)
        except subprocess.TimeoutExpired:
            if hit := kill(p, draw):
                found[hit] += 1
                found['killed'] += 1
        now = finished_cells(study)
        lost = [c for c,files in known.items() if now.get(c) != files]
        torn = torn_files(study) if p.poll() is not None else []
        for what,cases in (('lost', lost), ('torn', torn)):
            found[what] += len(cases)
            for c in cases: print(f'{what}: {study.name} {c}', file=sys.stderr)
        known = now
        if p.poll() is None: continue
        if p.returncode not in (0, -9): raise RuntimeError(p.stderr.read().decode())
        ended,p = p.returncode == 0,None
        if ended and set(study.status().state) == {'done'}:
            left = deserted() + hidden(study)
            found['left over'] += len(left)
            for d in left: print(f'left over: {d}', file=sys.stderr)
            found['cells done'] += len(known)
            study = None
    found['studies'] = len(studies)
    return found

def table(found):
    "What was counted, as text"
    rows = [f'{found["killed"]} kills: ' + ', '.join(f'{found[v]} of {"everything" if v == "all" else "the " + v if v == "sweep" else "a " + v}' for v in VICTIMS)]
    rows += [f'{found["starts"]} starts, {found["studies"]} studies, {found["cells done"]} cells done']
    return '\n'.join(rows + [f'{k}: {found[k]}' for k in ('lost', 'torn', 'left over')])

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name,default in dict(kills=60, seed=0, cells=24).items(): parser.add_argument(f'--{name}', type=int, default=default)
    t0,found = time.time(), main(**vars(parser.parse_args()))
    print(table(found), f'{time.time() - t0:.0f} s', sep='\n')
    sys.exit(any(found[k] for k in ('lost', 'torn', 'left over')))
