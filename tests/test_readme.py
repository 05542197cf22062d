"""Every command and snippet of README.md is run, in its order and in one folder, on small stand-ins.

What stands for what is written below: values of options, and options that are added. A command that is not
run has an entry with the reason; any other first word than those known here is an error, so that nothing is left out.
"""
import ast, glob, re, shlex, shutil
from importlib.metadata import entry_points
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from conftest import root
from gpfq_nb.models import create_model
from gpfq_nb.onnx import export_onnx
from gpfq_nb.quantize import QuantConfig, quantize_model
from gpfq_nb.weights import save_weights

# option -> value -> what is given instead, '*' standing for any other; None: as it is. {names} are made by `stand_ins`
VALUES = {
    '--data': {'cifar10': 'digits', '*': 'folder:photos'},
    '--epochs': {'*': '1'},
    '--size': {'*': '32'},
    '--model': {'resnet20': 'tiny', '*': 'timm:test_resnet'},
    '--study': {'digits': None, '*': 'digits'},
    '--serve': {}}
# a command's beginning -> options that are added where they are not given
ADDED = {
    'gpfq_sweep --study cifar10-resnet18': '--variants default --epochs 1 --lrs 1e-2 --seeds 0 --bits 3 --train-limit 40 --test-limit 20 --calib 32 --quiet',
    'gpfq_sweep --study': '--epochs 1 --lrs 1e-2 --seeds 0 --bits 3 --train-limit 40 --test-limit 20 --calib 32 --quiet',
    'gpfq_sweep': '--quiet', 'gpfq_evaluate': '--quiet',
    'gpfq_train': '--train-limit 200 --test-limit 50 --quiet', 'gpfq_quantize': '--calib 32 --train-limit 200 --test-limit 50 --quiet'}
# a command's beginning -> why it is not run
SKIPPED = {
    'make': "they are this test suite, or take as long; test_project.py holds their names to the Makefile's",
    'git clone': 'there is no address to clone from',
    'cd': 'the commands are run in one folder, which is there',
    'python -m venv': 'an environment takes minutes',
    'source': 'an environment takes minutes',
    'pip install': 'test_project.py builds the wheel and installs it',
    'docker': "tools/check_dockerfile.py runs the Dockerfile's steps without Docker",
    'mkdir': 'folders for Docker'}
LANGUAGES = {'sh', 'python', 'bibtex', ''}      # '': what the snippet above gives

readme = (root/'README.md').read_text(encoding='utf-8')
scripts = {e.name: e for e in entry_points(group='console_scripts') if e.name.startswith('gpfq_')}

# -- what there is to run

def blocks(text):
    "(line, language, content) of each fenced block"
    return [(text[:m.start()].count('\n')+1, m[1], m[2]) for m in re.finditer(r'^```(\w*)\n(.*?)^```', text, flags=re.M|re.S)]

def commands(content):
    "The commands of a shell block, each on a line, without comments"
    lines = re.sub(r'\\\n\s*', ' ', content).splitlines()
    return [' '.join(words) for words in (shlex.split(l, comments=True) for l in lines) if words]

def inline(text):
    "(line, command) of commands within the text that can be run as they stand"
    without = re.sub(r'^```.*?^```', lambda m: '\n'*m[0].count('\n'), text, flags=re.M|re.S)
    return [(without[:m.start()].count('\n')+1, m[1]) for m in re.finditer(r'`(papermill [^`]+)`', without)]

def beginning(command, table):
    "The entry of a table that a command begins with, the longest of several; None: there is none"
    found = [k for k in table if command == k or command.startswith(k+' ') or command.startswith(k) and not k.isalpha()]
    return max(found, key=len, default=None)

def small(words):
    "The words of a command with stand-ins in the place of values"
    out,option = [],None
    for word in words:
        if word.startswith('--'):
            option = word
            if VALUES.get(option) == {}: continue
            out.append(word)
        else:
            values = VALUES.get(option, {})
            given = values.get(word, values.get('*'))
            out.append(word if given is None else given)
    command = ' '.join(words)
    added = shlex.split(ADDED.get(beginning(command, ADDED), ''))
    if words[1:2] == ['--resume']: added = ['--quiet']
    while added:
        option,*rest = added
        n = next((i for i,w in enumerate(rest) if w.startswith('--')), len(rest))
        if option not in words: out += added[:n+1]
        added = rest[n:]
    return out

def expanded(words):
    "The words with patterns of file names replaced by the files"
    out = []
    for word in words:
        found = sorted(glob.glob(word)) if re.search(r'[*?]', word) else [word]
        assert found, f'no file {word}'
        out += found
    return out

# -- what they are run with

@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    "A folder with images, weights for them and the committed study; the names that snippets use"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GPFQ_CACHE', str(tmp_path/'cache'))
    rng = np.random.default_rng(0)
    for split,n in (('train', 16), ('test', 6)):
        for kind in ('bees', 'moths', 'wasps'):
            (tmp_path/'photos'/split/kind).mkdir(parents=True)
            for i in range(n):
                coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
                coarse.resize((48, 40), Image.BICUBIC).save(tmp_path/'photos'/split/kind/f'{i}.jpg')
    facts = dict(model='timm:test_resnet', num_classes=3, mean=(.5,)*3, std=(.25,)*3)
    save_weights(create_model('timm:test_resnet', num_classes=3, seed=0), 'photos.safetensors', facts)
    for study in (root/'runs').glob('cifar10-*'):              # those that are committed
        if (study/'study.json').is_file(): shutil.copytree(study, tmp_path/'runs'/study.name)
    shutil.copytree(root/'nbs'/'cells', tmp_path/'nbs'/'cells')
    model = create_model('resnet20', seed=0).eval()
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    files = set(re.findall(r"InferenceSession\('([^']+)'\)", readme))    # that are there in the reader's mind
    for file in files: export_onnx(quantize_model(model, images, QuantConfig(bits=2, method='msq'), progress=False), file, example=images)
    return dict(model=model, batches=[(images, torch.arange(8))], images=images)

def run_command(command):
    "Run a command on stand-ins; raises `AssertionError` if it fails"
    words = shlex.split(command)
    if words[0] == 'papermill':
        import papermill
        given = dict(zip(words[4::3], words[5::3]))
        stand = dict(weights='photos.safetensors', data='folder:photos', size='32', bits='3', calib='32', out='runs/x')
        named = {k: stand.get(k, v) for k,v in given.items()} | dict(size=32, calib=32, progress=False)
        named = {k: int(v) if str(v).isdigit() else v for k,v in named.items()}
        papermill.execute_notebook(words[1], words[2], parameters=named, progress_bar=False)
        return
    if words[0] == 'gpfq_try':
        from gpfq_nb.browser import fetch_runtime
        try: fetch_runtime()
        except (ValueError, OSError): return scripts['gpfq_try'].load().parser().parse_args(small(words)[1:])
    scripts[words[0]].load().run(expanded(small(words)[1:]))

def run_snippet(code, names):
    "Run a snippet; the value of its last line, if that is an expression"
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), 'README.md', 'exec'), names)
    return eval(compile(ast.Expression(last.value), 'README.md', 'eval'), names) if last else None

# -- the tests

def test_blocks_are_of_known_languages():
    assert {lang for _,lang,_ in blocks(readme)} <= LANGUAGES
    assert readme.count('```') == 2*len(blocks(readme))

def test_commands_are_run_or_skipped_with_a_reason():
    asked = [c for _,lang,text in blocks(readme) if lang=='sh' for c in commands(text)]
    unknown = [c for c in asked if c.split()[0] not in scripts and beginning(c, SKIPPED) is None]
    assert asked and not unknown
    assert all(any(beginning(c, table) == k for c in asked) for table in (SKIPPED, ADDED) for k in table)

def test_options_in_the_text_exist():
    "also those that stand in a sentence: `--max-memory`"
    code = re.findall(r'`([^`\n]+)`', re.sub(r'^```.*?^```', '', readme, flags=re.M|re.S))
    known = {s for e in scripts.values() for s in e.load().parser().spellings()}
    others = {'--user', '--gpus', '--build-arg', '--output_dir'}    # Docker's, and the earlier study's
    asked = {w.partition('=')[0] for c in code for w in c.split() if w.startswith('--')}
    assert asked and not asked - known - others
    for c in code:
        words = c.split()
        if words[0] in scripts: assert {w for w in words if w.startswith('--')} <= set(scripts[words[0]].load().parser().spellings()), c

def test_stand_ins_for_commands():
    assert small(['gpfq_train', '--data', 'cifar10', '--epochs', '100', '--lr', '.1']) == 'gpfq_train --data digits --epochs 1 --lr .1 --train-limit 200 --test-limit 50 --quiet'.split()
    assert small(['gpfq_sweep', '--resume', 'runs/x']) == 'gpfq_sweep --resume runs/x --quiet'.split()
    assert small(['gpfq_try', 'a.onnx', '--serve']) == ['gpfq_try', 'a.onnx']
    assert small(['gpfq_sweep', '--study', 'cifar10-resnet18', '--bits', '4'])[:7] == 'gpfq_sweep --study digits --bits 4 --variants default'.split()
    assert commands('# a\nfoo --x \\\n   1  # b\n\nbar') == ['foo --x 1', 'bar']
    assert beginning('docker run x', SKIPPED) == 'docker' and beginning('dockerize', SKIPPED) is None

def test_everything_in_the_readme_runs(stand_ins):
    "in the order in which it is written"
    found = blocks(readme) + [(line, 'inline', command) for line,command in inline(readme)]
    given = None
    for line,lang,content in sorted(found):
        where = f'README.md, line {line}'
        if lang=='python': given = run_snippet(content, stand_ins)
        if lang=='' and given is not None: assert content.strip()==repr(given), where
        if lang!='python': given = None
        for command in commands(content) if lang=='sh' else [content] if lang=='inline' else []:
            if beginning(command, SKIPPED): continue
            try: run_command(command)
            except SystemExit as e: assert e.code in (None, 0), f'{where}: {command}'
            except Exception as e: raise AssertionError(f'{where}: {command}: {e}') from e
