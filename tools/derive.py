"""What the notebooks determine: gpfq_nb/*.py, README.md with its figures, and the notebooks' own clean form.

    python tools/derive.py            bring them up to date
    python tools/derive.py --check    only say what is not, exit status 1 if anything is

Everything is made in a scratch copy and then compared, so a check changes nothing, an update touches only what differs,
and a module that no notebook exports any more stands out. With CI=true, `--check` also wants everything committed.
"""
import difflib, os, shutil, subprocess, sys, tempfile
from pathlib import Path
from execnb.nbio import read_nb, write_nb
import docs

root = docs.root
make = 'from nbdev.doclinks import nbdev_export; from nbdev.clean import nbdev_clean; nbdev_export(); nbdev_clean()'

def present(top):
    "The derived files that lie below `top`"
    found = [f for g in ('gpfq_nb/*.py','nbs/**/*.ipynb','nbs/index_files/*','README.md') for f in top.glob(g)]
    return {f.relative_to(top).as_posix(): f.read_bytes() for f in found if '.ipynb_checkpoints' not in f.parts}

def is_widget(output):
    "Whether an output is a live widget, such as a progress bar, of which a saved notebook shows nothing"
    return 'application/vnd.jupyter.widget-view+json' in output.get('data', {})

def drop_widgets(path):
    "Take the widgets that a run in JupyterLab leaves out of a notebook"
    nb = read_nb(path)
    code = [c for c in nb.cells if c.cell_type=='code']
    if 'widgets' not in nb.metadata and not any(is_widget(o) for c in code for o in c.outputs): return
    nb.metadata.pop('widgets', None)
    for c in code: c.outputs = [o for o in c.outputs if not is_widget(o)]
    write_nb(nb, path)

def make_in(top):
    "Export and clean the notebooks of a copy of the project"
    env = {k:v for k,v in os.environ.items() if k!='IN_TEST'}
    subprocess.run([sys.executable,'-c',make], cwd=top, env=env, check=True)
    for path in Path(top).glob('nbs/**/*.ipynb'): drop_widgets(path)

def expected():
    "The same, made from the notebooks alone"
    with tempfile.TemporaryDirectory() as t:
        shutil.copy(root/'settings.ini', t)
        shutil.copytree(root/'nbs', Path(t)/'nbs', ignore=shutil.ignore_patterns('.*','index_files'))
        make_in(t)
        return present(Path(t)) | docs.readme()

def difference(have, want):
    "How one file differs: a word, or the lines as `diff -u` has them"
    if have is None: return 'missing'
    if want is None: return 'no notebook makes this file'
    try: a,b = have.decode().splitlines(),want.decode().splitlines()
    except UnicodeDecodeError: return 'differs'
    lines = list(difflib.unified_diff(a, b, 'is', 'should be', lineterm='', n=1))
    return '\n    '.join([f'{len(lines)} lines of difference', *(o[:160] for o in lines[:12])])

def main(check):
    have,want = present(root),expected()
    off = {f: difference(have.get(f), want.get(f)) for f in sorted(have|want) if have.get(f)!=want.get(f)}
    if check:
        for f,how in off.items(): print(f'out of date: {f}: {how}')
        if off: sys.exit('\nThese files do not follow from the notebooks. Edit notebooks, not what they make; then run `make export` and commit.')
        if os.environ.get('CI')=='true':
            dirty = subprocess.run(['git','status','--porcelain'], cwd=root, capture_output=True, text=True, check=True).stdout
            if dirty: sys.exit(f'Not committed:\n{dirty}')
        print(f'derived files: {len(want)}, all up to date')
        return
    for f in off:
        print('updated' if f in want else 'removed', f)
        if f in want: (root/f).parent.mkdir(parents=True, exist_ok=True); (root/f).write_bytes(want[f])
        else: (root/f).unlink()

if __name__=='__main__':
    if set(sys.argv[1:]) - {'--check'}: sys.exit(__doc__)
    main('--check' in sys.argv)
