import shutil, signal, subprocess
from contextlib import closing
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent

def git(*args):
    "What git answers, or None outside a repository"
    r = subprocess.run(['git',*args], cwd=root, capture_output=True, text=True)
    return r.stdout if r.returncode==0 else None

def pytest_addoption(parser): parser.addoption('--slow', action='store_true', help='run the notebook cells marked `#| slow` too')

def pytest_configure(config):
    config.tree = git('status','--porcelain','-uall')
    signal.signal(signal.SIGINT, signal.default_int_handler)    # a background shell starts us, and so our children, deaf to it

long = '90_sweep', 'test_chaos', 'test_readme', 'test_page', 'test_recipes', 'test_cells', '97_cli'

def pytest_collection_modifyitems(items):
    "What takes longest first, so that nobody waits for it in the end; what looks at the tree last"
    items.sort(key=lambda o: 1 if o.name=='test_tree_is_untouched' else -any(name in o.nodeid for name in long))

@pytest.fixture(scope='session')
def files():
    "Every file that is committed or could be: git's, or without git all but what is hidden"
    listed = git('ls-files','-co','--exclude-standard','-z')
    names = listed.split('\0') if listed else (str(p.relative_to(root)) for p in root.rglob('[!.]*'))
    return sorted(p for n in names if n and (p := root/n).is_file())

@pytest.fixture(scope='session')
def chromium():
    "A headless Chromium"
    playwright = pytest.importorskip('playwright.sync_api', reason='no package playwright')
    path = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if path is None: pytest.skip('no Chromium: neither chromium, chromium-browser nor google-chrome is a command')
    with playwright.sync_playwright() as p, closing(p.chromium.launch(executable_path=path, args=['--no-sandbox'])) as browser: yield browser
