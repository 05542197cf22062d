"The recipes of CONTRIBUTING.md, applied to a copy of the project: what they add is exported, tested and used."
import json, re, shutil, subprocess, sys
import pytest
from conftest import root

text = (root/'CONTRIBUTING.md').read_text()
recipes = re.findall(r'^```diff\n(.*?)^```', text, flags=re.M|re.S)

def hunks(recipe):
    "Notebook, where in it, lines: of each hunk of a recipe"
    found,file = [],None
    for line in recipe.splitlines():
        if line.startswith('--- '): file = line[4:]
        elif line.startswith('@@ '): found.append((file, line[3:], []))
        else: found[-1][2].append(line)
    return found

def cell(kind, source):
    code = dict(execution_count=None, outputs=[]) if kind=='code' else {}
    return dict(cell_type=kind, id=f'{abs(hash(source)):x}'[:8], metadata={}, source=source.splitlines(True)) | code

def apply(top, file, where, lines):
    "One hunk, where it fits and nowhere else"
    path = top/file
    nb = json.loads(path.read_text()) if path.exists() else dict(cells=[], metadata={}, nbformat=4, nbformat_minor=5)
    new = '\n'.join(l[1:] for l in lines if l[:1] in ('+',' '))
    quoted = re.search('`(.*)`', where)
    holds = [i for i,c in enumerate(nb['cells']) if quoted and quoted[1] in ''.join(c['source'])]
    if where.startswith('a new '):
        at = holds[0]+1 if quoted else len(nb['cells'])
        nb['cells'].insert(at, cell('markdown' if where=='a new text' else 'code', new))
    else:
        old = '\n'.join(l[1:] for l in lines if l[:1] in ('-',' '))
        fits = [i for i in holds if old in ''.join(nb['cells'][i]['source'])]
        assert len(fits)==1, f'{file}, {where}: fits {len(fits)} cells'
        source = ''.join(nb['cells'][fits[0]]['source'])
        assert source.count(old)==1, f'{file}, {where}: fits {source.count(old)} places'
        nb['cells'][fits[0]]['source'] = source.replace(old, new).splitlines(True)
    path.write_text(json.dumps(nb))

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The project with all recipes applied, exported"
    top = tmp_path_factory.mktemp('recipes')
    for f in ('settings.ini','README.md'): shutil.copy(root/f, top)
    shutil.copytree(root/'nbs', top/'nbs', ignore=shutil.ignore_patterns('.*'))
    for r in recipes:
        for h in hunks(r): apply(top, *h)
    code = 'import sys, derive; derive.make_in(sys.argv[1])'
    subprocess.run([sys.executable,'-c',code,top], cwd=root/'tools', check=True)
    return top

def run(copy, code):
    "What a Python of the copy prints"
    r = subprocess.run([sys.executable,'-c',f'import sys; sys.path.insert(0, {str(copy)!r})\n{code}'], cwd=copy, capture_output=True, text=True)
    assert r.returncode==0, r.stderr
    return r.stdout.split()

def test_there_is_a_recipe_for_each(): assert re.findall(r'^## An? (\w+)', text, flags=re.M)==['solver','data','study','chapter'] and len(recipes)==4

def test_recipes_work_together(copy):
    "The study of the recipes has the data set and the solver of the recipes, and runs"
    code = """
from pathlib import Path
from gpfq_nb.builtin import STUDIES, make_study
import gpfq_nb
assert Path(gpfq_nb.__file__).parent==Path('gpfq_nb').resolve()
from gpfq_nb.jobs import train_job, quantize_job
from gpfq_nb.signs import flipped
s = make_study('stripes', None)
t,*_ = tasks = s.tasks()
train_job('t', progress=False, **t.params)
q = next(q for q in tasks if q.kind=='quantize' and q.params['method']=='better')
r = quantize_job('q', **(q.params | dict(weights='t/weights.safetensors', calib=64)), progress=False)
print(r['config']['method'], r['data']['name'], r['status'], len(tasks))
"""
    assert run(copy, code)==['better','stripes','done','10']

@pytest.mark.parametrize('name', [f for r in recipes for f,where,_ in hunks(r) if where=='a new text'])
def test_new_chapter_passes_its_tests(copy, name):
    code = [''.join(c['source']) for c in json.loads((copy/name).read_text())['cells'] if c['cell_type']=='code']
    run(copy, '\n'.join(code))
