"""Kill sweeps at random, again and again, and look for what was lost.

    python tools/chaos.py [--kills 200] [--seed 0] [--cells 16] [--engines local dask] [--minutes 45]

Studies of quick notebooks are run by processes of this machine, and by a Dask scheduler with two to four workers on the loopback,
by one client or by two at once. At random moments SIGKILL hits a client, a worker, the process of a cell, a kernel, the scheduler,
or all of them; what is missing is started again, until the study is done and a new one begins. What is counted, all of it errors:

lost        a cell that was done and no longer is, or has other files than it had
torn        a file that cannot be read whole, notebooks included, or weights that are not those of their result
twice       a cell in two places at once: each toy notebook notes every few milliseconds that it is at work
orphans     kernels, and processes of cells, that are still there ten seconds after the process that they belong to
other       a result that is not that of an undisturbed run
left over   what is still in the temporary folder after the next start, and hidden files in a study that is done

Then come a cell that kills its process, or its Dask worker, whenever it is run, which must be given up while the rest completes; and two clients of one
study, both left alive (every cell is run once), and one of them killed (the other takes its cells over).
"""
import argparse, hashlib, json, os, random, re, signal, socket, subprocess, sys, tempfile, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat, psutil
from gpfq_nb.execute import PREFIX, alive, read_error, sweep_scratch
from gpfq_nb.log import read_csv_log, read_result
from gpfq_nb.sweep import Study
from gpfq_nb.toys import toy_templates

RUN = """
import sys
from gpfq_nb.sweep import Study
if __name__ == '__main__':
    cluster = dict(cluster=sys.argv[2]) if len(sys.argv) > 2 else dict(workers=2)
    try: Study.load(sys.argv[1]).run(progress=False, **cluster)
    except ConnectionError as e: sys.exit(f'{e}')
"""
ERRORS = ('lost', 'torn', 'twice', 'orphans', 'other', 'left over', 'not given up', 'not once', 'not taken over')
VICTIMS = dict(client=2, worker=3, cell=3, kernel=5, scheduler=1, all=1)                # what is hit -> how often, about
MARK = 'GPFQ_CHAOS'                                                                     # in the environment of all that we start
TICKS = """
import secrets
me = secrets.token_hex(4)
def tick():
    with (d.parent/'ticks.txt').open('a') as f: f.write(f'{me} {time.time():.4f}\\n')
tick()
until = time.time() + sleep
while time.time() < until:
    time.sleep(.02)
    tick()
"""

def toys(folder):
    "The toy notebooks, which note that they are at work"
    toy_templates(folder)
    for f in folder.glob('*.ipynb'):
        nb = nbformat.read(f, 4)
        nb.cells[1].source = nb.cells[1].source.replace('time.sleep(sleep)\n', TICKS) + '\ntick()\n'
        nbformat.write(nb, f)

def study_of(root, name, cells, **settings):
    "A study of about so many cells, whose notebooks do next to nothing"
    lrs = [round(.01*(i+1), 2) for i in range(max(1, cells//4))]
    s = Study(name, root=str(root), templates=str(root/'toy'), **dict(lrs=lrs, bits=(2, 3, 4), variants=dict(default={}), train=dict(sleep=.2), quantize=dict(sleep=.2)) | settings)
    s.save()
    return s

# -- what runs

class Arena:
    "A study, the clients that run it, and, for Dask, a scheduler and workers"
    def __init__(self, root, study, engine, workers=2, clients=1, tell=print):
        self.root,self.study,self.engine,self.tell = root,study,engine,tell
        (root/'light').mkdir(exist_ok=True)
        (root/'light'/'rfc3987_syntax.py').write_text('raise ImportError')             # a grammar that takes jsonschema three seconds to load
        self.env = os.environ | {MARK: str(root), 'OMP_NUM_THREADS': '1', 'TMPDIR': str(root/'t'), 'DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES': '0'}
        (root/'t').mkdir(exist_ok=True)
        self.env['PYTHONPATH'] = os.pathsep.join([str(root/'light'), *filter(None, [os.environ.get('PYTHONPATH')])])
        self.scheduler,self.workers,self.clients = None,[None]*(workers if engine == 'dask' else 0),[None]*clients
        self.ended = [False]*clients            # clients that have ended well
        self.first = {}                         # process without its parent -> since when
        self.known = {}

    def start(self, *args):
        "A process in a group of its own"
        log = (self.root/'chaos.log').open('ab')
        return subprocess.Popen([sys.executable, *args], start_new_session=True, stdout=log, stderr=log, env=self.env, cwd=self.root)

    def refill(self):
        "Start what is missing; how many clients were started"
        self.refill_cluster()
        n = 0
        for i,c in enumerate(self.clients):
            if self.ended[i] or c is not None and c.poll() is None: continue
            self.clients[i] = self.start('-c', RUN, str(self.study.folder), *([self.address] if self.engine == 'dask' else []))
            n += 1
        return n

    def refill_cluster(self):
        "Start a scheduler and workers where they are missing"
        if self.engine == 'dask' and (self.scheduler is None or self.scheduler.poll() is not None):
            for w in self.workers: self.end(w)
            with socket.socket() as s:
                s.bind(('127.0.0.1', 0))
                port = s.getsockname()[1]
            self.address = f'tcp://127.0.0.1:{port}'
            self.scheduler = self.start('-m', 'distributed.cli.dask_scheduler', '--host', '127.0.0.1', '--port', str(port), '--no-dashboard')
            self.workers = [None]*len(self.workers)
        for i,w in enumerate(self.workers):
            if w is None or w.poll() is not None:
                self.workers[i] = self.start('-m', 'distributed.cli.dask_worker', self.address, '--nthreads', '1', '--no-nanny', '--no-dashboard', '--death-timeout', '20')

    def end(self, p):
        "Kill a process of ours, if it is there"
        if p is not None and p.poll() is None: p.kill()
        if p is not None: p.wait()

    def close(self):
        "Kill all of them"
        for p in [*self.clients, *self.workers, self.scheduler]: self.end(p)

    def settle(self):
        "Which clients have ended, and how"
        for i,c in enumerate(self.clients):
            if c is None or c.poll() is None: continue
            self.ended[i] = c.returncode == 0 and set(self.study.status().state) == {'done'}
        return all(self.ended)

    def there(self):
        "What can be hit, by kind"
        def below(p):
            try: return psutil.Process(p.pid).children(recursive=True)
            except psutil.NoSuchProcess: return []
        live = lambda ps: [psutil.Process(p.pid) for p in ps if p is not None and p.poll() is None]
        kids = [k for p in [*self.workers, *self.clients] if p is not None and p.poll() is None for k in below(p)]
        slots,kernels = [k for k in kids if runs(k, 'spawn_main')], [k for k in kids if runs(k, 'ipykernel_launcher')]
        workers = live(self.workers)
        found = dict(client=live(self.clients), worker=workers if self.engine == 'dask' else slots, cell=slots if self.engine == 'dask' else [], kernel=kernels, scheduler=live([self.scheduler]))
        return found | dict(all=[p for ps in found.values() for p in ps])

    def kill(self, draw):
        "SIGKILL to one of those that are there, or to all; what was hit"
        there = self.there()
        kinds = [v for v in VICTIMS if there[v]]
        if not kinds: return ''
        kind = draw.choices(kinds, [VICTIMS[v] for v in kinds])[0]
        for p in there[kind] if kind == 'all' else [draw.choice(there[kind])]:
            try: p.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess: continue
        return kind

    def orphans(self):
        "Processes of cells that have been without their parent for ten seconds"
        ours = {}
        for p in psutil.process_iter():
            try:
                if p.status() != psutil.STATUS_ZOMBIE and p.environ().get(MARK) == str(self.root): ours[p.pid] = p
            except (psutil.Error, OSError): continue
        alone = {}
        for p in ours.values():
            try:
                if p.ppid() not in ours and (runs(p, 'spawn_main') or runs(p, 'ipykernel_launcher')): alone[p] = self.first.get(p, time.monotonic())
            except psutil.Error: continue
        self.first = alone
        late = [p for p,since in alone.items() if time.monotonic() - since > 10]
        for p in late: p.kill()
        return late

def runs(process, what):
    "Is this the command of a process that is still there?"
    try: return any(what in a for a in process.cmdline())
    except psutil.Error: return False

# -- what is looked for

def digest(path): return hashlib.sha256(path.read_bytes()).hexdigest()

def finished_cells(study):
    "The cells that are done, each with a hash of every file that belongs to its result"
    done = {}
    for t in study.tasks():
        try:
            r = read_result(t.out/'result.json')
            if r['key'] == study.key(t): done[t.kind, t.cell] = {f.name: digest(f) for f in t.out.iterdir() if f.is_file() and f.suffix != '.txt' and f.name[0] != '.' and f.name != 'error.json'}
        except (OSError, ValueError): continue
    return done

def torn_files(study):
    "Files that cannot be read whole; nobody may be running the study"
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

def twice(study):
    "Cells that were at work in two places at once"
    found = []
    for t in study.tasks():
        spans = {}
        for line in (t.out/'ticks.txt').read_text().splitlines() if (t.out/'ticks.txt').exists() else ():
            me,when = line.split()
            spans[me] = spans.get(me, []) + [float(when)]
        ordered = sorted((min(s), max(s)) for s in spans.values())
        if any(end > begin for (_,end),(begin,_) in zip(ordered, ordered[1:])): found.append(t.cell)
    return found

def results(study): return {(t.kind, t.cell): json.loads((t.out/'result.json').read_text()) for t in study.tasks() if (t.out/'result.json').exists()}

def hidden(study): return list(study.folder.rglob('.*'))

def deserted(temporary): return [d for d in temporary.glob(f'{PREFIX}*-*') if not alive(int(d.name.split('-')[1]))]

def often(study): return {t.cell: len((t.out/'runs.txt').read_text()) for t in study.tasks() if (t.out/'runs.txt').exists()}

# -- the trials

def note(found, what, cases, where):
    "Count, and tell"
    found[what] += len(cases)
    for c in cases: print(f'{what}: {where} {c}', file=sys.stderr, flush=True)

def torment(root, engine, kills, draw, cells, expected, found, until, most):
    "Run, kill and resume studies on an engine"
    killed,n = 0,0
    while killed < kills and time.time() < until:
        study = study_of(root, f'{engine}{n}', cells)
        arena = Arena(root, study, engine, draw.randint(2, most), 1 + (draw.random() < .3))
        n += 1
        try:
            while not arena.settle():
                found['starts'] += arena.refill()
                more = killed < kills and time.time() < until
                time.sleep(draw.uniform(.2, 3) if more else 1)
                if more and (arena.there()['kernel'] or draw.random() < .1) and (hit := arena.kill(draw)):
                    found[hit] += 1
                    killed += 1
                now = finished_cells(study)
                note(found, 'lost', [c for c,files in arena.known.items() if now.get(c) != files], study.name)
                arena.known = now
                note(found, 'orphans', arena.orphans(), study.name)
        finally: arena.close()
        time.sleep(2)
        check(study, expected, found, root/'t')
        found['studies'] += 1
        found['cells done'] += len(now)
        print(f'{engine}: {killed} kills, {found["studies"]} studies', file=sys.stderr, flush=True)
    found['killed'] += killed

def check(study, expected, found, temporary):
    "Look at a study that is done"
    note(found, 'torn', torn_files(study), study.name)
    note(found, 'twice', twice(study), study.name)
    made = results(study)
    note(found, 'other', [c for c in expected if made.get(c) != expected[c]], study.name)
    time.sleep(1)
    study.run(progress=False)                                                           # the next start
    sweep_scratch(temporary)
    note(found, 'left over', deserted(temporary) + hidden(study), study.name)

def run_to_end(arena, seconds=300, after=None):
    "Until the clients have ended, whatever has become of the cells; `after` is called all the while"
    arena.refill()
    end = time.time() + seconds
    while any(c.poll() is None for c in arena.clients) and time.time() < end:
        time.sleep(.2)
        if after: after()
    arena.close()

def hopeless(root, engine, found):
    "A cell that kills its process, or its Dask worker, whenever it is run is given up, and the rest completes"
    for deed,said in dict(die='its process died 3 times', fell='it was lost 3 times: KilledWorker').items():
        if deed == 'fell' and engine != 'dask': continue
        study = study_of(root, f'hopeless-{engine}-{deed}', 4, quantize={deed: 3})
        arena = Arena(root, study, engine)
        run_to_end(arena, after=arena.refill_cluster)
        st = study.status()
        good = st.state.tolist() == ['done', 'done', 'failed', 'done'] and said in st.note[2] and max(often(study).values()) == 3
        note(found, 'not given up', [] if good else [(st.state.tolist(), st.note.tolist(), often(study))], study.name)

def shared(root, engine, cells, kill, found):
    "Two clients on one study; every cell is run once, or again if its client was killed"
    study = study_of(root, f'shared-{engine}-{kill}', cells)
    arena = Arena(root, study, engine, clients=2)
    def after():
        "Kill the first client once cells are done"
        if kill and len(finished_cells(study)) >= 2: arena.end(arena.clients[0])
    run_to_end(arena, after=after)
    note(found, 'twice', twice(study), study.name)
    states,count = set(study.status().state), often(study)
    if kill: note(found, 'not taken over', [] if states == {'done'} and sum(count.values()) <= len(count) + 2 else [(states, count)], study.name)
    else: note(found, 'not once', [] if states == {'done'} and set(count.values()) == {1} else [(states, count)], study.name)

def main(kills=200, seed=0, cells=16, engines=('local', 'dask'), minutes=45, trials=True, most=4):
    "Every trial; what was counted"
    draw,root,found = random.Random(seed), Path(tempfile.mkdtemp(prefix='chaos-')), Counter()
    toys(root/'toy')
    calm = study_of(root, 'calm', cells)
    calm.run(ThreadPoolExecutor(2), progress=False)
    until = time.time() + 60*minutes
    for i,engine in enumerate(engines): torment(root, engine, kills//len(engines), draw, cells, results(calm), found, until, most)
    for engine in engines if trials else ():
        hopeless(root, engine, found)
        for kill in (False, True): shared(root, engine, cells, kill, found)
    return found

def table(found):
    "What was counted, as text"
    rows = [f'{found["killed"]} kills: ' + ', '.join(f'{found[v]} of {"everything" if v == "all" else "a " + v}' for v in VICTIMS)]
    rows += [f'{found["starts"]} starts of clients, {found["studies"]} studies, {found["cells done"]} cells done']
    return '\n'.join(rows + [f'{k}: {found[k]}' for k in ERRORS])

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name,default in dict(kills=200, seed=0, cells=16, minutes=45).items(): parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--engines', nargs='+', default=['local', 'dask'], choices=['local', 'dask'])
    t0,found = time.time(), main(**vars(parser.parse_args()))
    print(table(found), f'{time.time() - t0:.0f} s', sep='\n')
    sys.exit(any(found[k] for k in ERRORS))
