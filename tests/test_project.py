"The project around the notebooks: what is packaged, what the README promises, what must not be committed."
import ast, json, os, re, shutil, subprocess, sys, tarfile, zipfile
from importlib.metadata import distribution, entry_points
from pathlib import Path
import pytest, yaml
from nbdev.config import get_config
from packaging.requirements import Requirement
from conftest import git

cfg = get_config()
root,nbs,lib = cfg.config_path,cfg.nbs_path,cfg.lib_path
scripts = dict(l.split('=') for l in cfg.console_scripts.split())
modules = sorted(p for p in lib.glob('*.py') if p.name[0]!='_')
templates = sorted(p.name for p in (nbs/'cells').glob('*.ipynb'))
notebooks = sorted(p for p in nbs.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
def rel(p): return p.relative_to(root).as_posix()
def each(paths): return dict(argvalues=paths, ids=map(rel, paths))

# -- packaging

@pytest.fixture(scope='session')
def dist(files, tmp_path_factory):
    "An sdist of a copy of the project, and the wheel that is built from that sdist"
    copy,out = tmp_path_factory.mktemp('project'),tmp_path_factory.mktemp('dist')
    for f in files: (copy/rel(f)).parent.mkdir(parents=True, exist_ok=True); shutil.copy(f, copy/rel(f))
    subprocess.run([sys.executable,'-m','build','--no-isolation','--outdir',out,copy], check=True, capture_output=True, text=True)
    return out

def test_wheel_carries_modules_and_templates(dist):
    names = zipfile.ZipFile(*dist.glob('*.whl')).namelist()
    assert {f'{lib.name}/cells/{t}' for t in templates} | {rel(m) for m in modules} <= set(names)
    assert not [n for n in names if n.startswith(('nbs/','tests/','tools/'))]

def test_description_of_the_wheel_has_links_that_lead_somewhere(dist):
    "A package index shows it beside no file of the project"
    wheel = zipfile.ZipFile(*dist.glob('*.whl'))
    name = next(n for n in wheel.namelist() if n.endswith('.dist-info/METADATA'))
    told = wheel.read(name).decode().partition('\n\n')[2]
    text = re.sub(r'^```.*?^```', '', told, flags=re.M|re.S)
    links = re.findall(r'\]\(([^)\s]+)\)', text)
    assert links and not [l for l in links if not l.startswith('https://') or '//example.' in l]
    assert not re.search(r'(src|href)="(?!https://)', text)

def test_sdist_carries_what_the_build_reads(dist):
    names = {n.partition('/')[2] for n in tarfile.open(*dist.glob('*.tar.gz')).getnames()}
    assert {'settings.ini','README.md','LICENSE','setup.py','pyproject.toml',*(f'nbs/cells/{t}' for t in templates)} <= names
    assert {'constraints.txt','CHANGELOG.md','CITATION.cff','CONTRIBUTING.md'} <= names
    assert not [n for n in names if re.match(r'nbs/(?!cells)|runs/', n)]

def test_installed_wheel_finds_its_templates(dist, tmp_path):
    subprocess.run([sys.executable,'-m','pip','install','-qq','--no-index','--no-deps','--target',tmp_path,*dist.glob('*.whl')], check=True)
    code = f"from importlib.resources import files; d = files('{lib.name}')/'cells'; print(d, *(p.name for p in d.iterdir()))"
    env = dict(os.environ, PYTHONPATH=str(tmp_path))
    where,*names = subprocess.run([sys.executable,'-c',code], cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout.split()
    assert Path(where).is_relative_to(tmp_path) and set(names)==set(templates)

def test_papermill_templates_are_there(): assert templates==['measure.ipynb','quantize.ipynb','report.ipynb','train.ipynb']

@pytest.mark.parametrize('name', scripts)
def test_console_script(name):
    ep, = entry_points(group='console_scripts', name=name)
    assert ep.value==scripts[name] and callable(ep.load())

def test_pins_are_plain_and_within_the_declared_ranges():
    rows = [l for l in (root/'constraints.txt').read_text().splitlines() if l[0]!='#']
    assert not [r for r in rows if not re.fullmatch(r'[\w.-]+==[\w.]+', r)]
    pins = {re.sub('[-_.]+', '-', n).lower(): v for n,v in (r.split('==') for r in rows)}
    for r in map(Requirement, f'{cfg.requirements} {cfg.dev_requirements} {cfg.timm_requirements} {cfg.page_requirements} {cfg.mlflow_requirements}'.split()):
        assert r.specifier.contains(pins[re.sub('[-_.]+', '-', r.name).lower()]), r

def test_extras_are_in_the_development_environment():
    "All but those of other people's quantizers, which want an older setuptools"
    metadata = distribution(lib.name).requires
    def names(extra): return {Requirement(r).name for r in metadata if f'extra == "{extra}"' in r}
    extras = {k.removesuffix('_requirements') for k in cfg.d if k.endswith('_requirements')} - {'dev','runtime','peers'}
    assert not [e for e in extras if not names(e) or not names(e) <= names('dev')]

# -- what is said of it elsewhere

def test_citation():
    "The keys that version 1.2.0 of the format requires, and the version of settings.ini"
    c = yaml.safe_load((root/'CITATION.cff').read_text())
    assert c['cff-version']=='1.2.0' and {'message','title','authors'} <= set(c)
    assert str(c['version'])==cfg.version and c['license']=='Apache-2.0' and c['type']=='software'
    assert [a['name'] for a in c['authors']]==[cfg.author]
    for r in c['references']:
        assert {'type','title','authors','year'} <= set(r) and all({'family-names','given-names'} <= set(a) for a in r['authors'])
        assert r['title'] in readme and all(a['family-names'] in readme for a in r['authors'])

def test_changelog_has_a_part_for_the_version():
    "Versions in the form of Keep a Changelog; what is not released yet stands first, under the version to come"
    text = (root/'CHANGELOG.md').read_text()
    versions = re.findall(r'^## \[(.+?)\]', text, flags=re.M)
    assert versions[0]=='Unreleased' and (cfg.version in versions or f'{cfg.version}, not released yet' in text)
    kinds = set(re.findall(r'^### (.+)', text, flags=re.M))
    assert kinds and kinds <= {'Added','Changed','Deprecated','Removed','Fixed','Security'}

# -- README

readme = (root/'README.md').read_text()

def test_readme_quotes_the_two_commands(): assert 'make demo' in readme and 'make test' in readme

def test_commands_in_readme_exist():
    targets = set(re.findall(r'^([a-z]+):', (root/'Makefile').read_text(), flags=re.M))
    assert set(re.findall(r'(?:^|`)make ([a-z]+)', readme, flags=re.M)) <= targets
    assert set(re.findall(r'\bgpfq_(?:train|quantize|sweep|plots|report)\b', readme)) <= set(scripts)

def test_links_in_readme_lead_somewhere():
    links = [l.partition('#')[0] for l in re.findall(r'\]\(([^)\s]+)\)', readme) if not re.match(r'\w+:|#', l)]
    assert not [l for l in links if not (root/l).exists()]

# -- what is committed

def test_no_large_file(files): assert not [rel(f) for f in files if f.stat().st_size > 1_500_000]

def test_no_weights_or_pickles(files): assert not [rel(f) for f in files if f.suffix in ('.pt','.pth','.pkl','.pickle','.safetensors','.npz')]

def text(f):
    "A file's text: of a notebook everything but its images, of a binary file nothing"
    b = f.read_bytes()
    if f.suffix=='.ipynb': return re.sub(rb'"image/\w+": "[^"]*"', b'', b).decode()
    return '' if b'\0' in b else b.decode(errors='ignore')

def test_no_path_of_a_machine(files):
    path = re.compile(r'(?<![\w.:/-])/(?:work|tmp|root|home|farm|Users)/[\w.]')
    assert not {rel(f): m[0] for f in files if (m := path.search(text(f)))}

def test_templates_are_committed_once(): assert not (lib/'cells').exists()

# -- the package

def calls(tree): return ((ast.unparse(n.func),n) for n in ast.walk(tree) if isinstance(n, ast.Call))

@pytest.mark.parametrize('path', **each(modules))
def test_nothing_is_pickled(path):
    tree = ast.parse(path.read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, (ast.Import,ast.ImportFrom)) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {'pickle','cloudpickle','joblib','dill','shelve'}
    for f,n in calls(tree):
        kw = {k.arg: ast.unparse(k.value) for k in n.keywords}
        if f=='torch.load': assert kw.get('weights_only')=='True', f'line {n.lineno}: {ast.unparse(n)}'
        assert f!='torch.save' and kw.get('allow_pickle','False')=='False', f'line {n.lineno}: {ast.unparse(n)}'

@pytest.mark.parametrize('path', **each(modules))
def test_global_seed_is_left_alone(path):
    seeds = {'torch.manual_seed','torch.seed','torch.cuda.manual_seed','torch.cuda.manual_seed_all','random.seed','np.random.seed','numpy.random.seed'}
    assert not [ast.unparse(n) for f,n in calls(ast.parse(path.read_text())) if f in seeds]

@pytest.mark.parametrize('path', **each(modules))
def test_public_names_have_docstrings(path):
    defs = (ast.FunctionDef,ast.AsyncFunctionDef,ast.ClassDef)
    assert not [n.name for n in ast.parse(path.read_text()).body if isinstance(n, defs) and n.name[0]!='_' and not ast.get_docstring(n)]

# -- the notebooks as text

@pytest.mark.parametrize('path', **each(notebooks))
def test_notebook_opens_as_a_chapter(path):
    first = json.loads(path.read_text())['cells'][0]
    assert first['cell_type']=='markdown' and re.match(r'# \S.*\n+> \S', ''.join(first['source']))

def test_export_drops_the_widgets_of_a_notebook(tmp_path):
    text,widget = {'text/plain': ['3']},{'application/vnd.jupyter.widget-view+json': {'model_id': 'a'}, 'text/plain': ['0%']}
    outputs = [dict(output_type='display_data', metadata={}, data=d) for d in (widget, text)]
    cells = [dict(cell_type='code', id='a', source=['f()'], metadata={}, execution_count=None, outputs=outputs)]
    (tmp_path/'a.ipynb').write_text(json.dumps(dict(cells=cells, metadata=dict(widgets={}), nbformat=4, nbformat_minor=5)))
    code = "import sys, pathlib, derive; derive.drop_widgets(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable,'-c',code,tmp_path/'a.ipynb'], cwd=root/'tools', check=True)
    made = json.loads((tmp_path/'a.ipynb').read_text())
    assert [o['data'] for o in made['cells'][0]['outputs']]==[text] and not made['metadata']

def as_jupyterlab_saves(name, home):
    "Open and save a notebook below a folder through JupyterLab's own contents manager, with what its screen adds"
    from jupyter_server.services.contents.filemanager import FileContentsManager
    manager = FileContentsManager(root_dir=str(home))
    model = manager.get(name, content=True)
    nb = model['content']
    nb['metadata']['kernelspec'] = dict(display_name='Python 3 (ipykernel)', language='python', name='python3')
    nb['metadata']['language_info'] = dict(name='python', version='3.11.9', mimetype='text/x-python', file_extension='.py',
        codemirror_mode=dict(name='ipython', version=3), nbconvert_exporter='python', pygments_lexer='ipython3')
    nb['metadata']['widgets'] = {'application/vnd.jupyter.widget-state+json': dict(state={}, version_major=2, version_minor=0)}
    for i,c in enumerate(c for c in nb['cells'] if c['cell_type']=='code'):
        c['execution_count'] = i+1
        c['metadata'] |= dict(trusted=True, execution={'iopub.execute_input': '2026-01-01T00:00:00Z'})
        for o in c['outputs']:
            if o['output_type']=='execute_result': o['execution_count'] = i+1
    manager.save(dict(model, content=nb), name)

def test_saving_in_jupyterlab_changes_nothing_that_export_does_not(tmp_path):
    shutil.copy(root/'settings.ini', tmp_path)
    shutil.copytree(nbs, tmp_path/'nbs', ignore=shutil.ignore_patterns('.*'))
    for p in notebooks: as_jupyterlab_saves(rel(p), tmp_path)
    assert (tmp_path/rel(notebooks[0])).read_bytes()!=notebooks[0].read_bytes()
    code = "import sys, derive; derive.make_in(sys.argv[1])"
    subprocess.run([sys.executable,'-c',code,tmp_path], cwd=root/'tools', check=True)
    assert not [rel(p) for p in notebooks if (tmp_path/rel(p)).read_bytes()!=p.read_bytes()]

def test_imports_lead_up_the_book():
    "A chapter imports from chapters that come before it only"
    number = {}
    for m in modules:
        found = re.search(r'File to edit: ../nbs/(\d\d[a-z]?)', m.read_text())
        if found: number[m.stem] = found[1]
    def imported(m):
        froms = [n for n in ast.walk(ast.parse(m.read_text())) if isinstance(n, ast.ImportFrom) and n.level==1]
        return [i for n in froms for i in ([n.module] if n.module else [a.name for a in n.names])]
    down = [(m.stem, i) for m in modules if m.stem in number for i in imported(m) if number.get(i, '')>=number[m.stem]]
    assert not down

@pytest.mark.parametrize('path', **each(notebooks))
def test_notebook_is_clean(path):
    code = [c for c in json.loads(path.read_text())['cells'] if c['cell_type']=='code']
    assert not [c['id'] for c in code if c['execution_count'] is not None], 'execution counts: run `make export`'
    outputs = [o for c in code for o in c['outputs']]
    assert not [o for o in outputs if o['output_type']=='error' or o.get('name')=='stderr'], 'an error or a warning was saved with it'
    assert not [o for o in outputs if 'application/vnd.jupyter.widget-view+json' in o.get('data', {})], 'a progress bar was saved with it'

# -- last of all

def test_tree_is_untouched(request):
    if request.config.tree != '': pytest.skip('only told apart in a clean checkout')
    assert git('status','--porcelain','-uall')==''
