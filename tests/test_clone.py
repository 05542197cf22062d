"A committed study in a fresh clone, where its cells are not: every command shows it whole, and changes nothing."
import shutil, subprocess, sys
from pathlib import Path
import pytest
from conftest import git, root

name = 'cifar10-resnet18'
scripts = Path(sys.executable).parent

@pytest.fixture
def clone(tmp_path):
    "A folder with what git has of the study"
    listed = git('ls-files','-z',f'runs/{name}')
    if not listed: pytest.skip('only known in a checkout')
    for f in filter(None, listed.split('\0')):
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/f, tmp_path/f)
    return tmp_path

def run(command, *args, cwd):
    "A console script, as a shell would"
    return subprocess.run([scripts/command,*args], cwd=cwd, capture_output=True, text=True)

def contents(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}

@pytest.mark.parametrize('command', [('gpfq_sweep','--resume',f'runs/{name}'), ('gpfq_report',f'runs/{name}'), ('gpfq_plots',f'runs/{name}'), ('gpfq_plots','runs')],
    ids=lambda c: ' '.join(c))
def test_committed_study_is_shown_from_its_log(clone, command):
    before = contents(clone)
    r = run(*command, cwd=clone)
    assert (r.returncode,r.stderr)==(0,''), r.stderr
    after = contents(clone)
    assert {f: after.get(f) for f in before}==before
    new = set(after) - set(before)
    assert all(f.endswith('.lock') for f in new) or command==('gpfq_plots','runs'), new

def test_resuming_says_what_it_would_run_anew(clone):
    r = run('gpfq_sweep','--resume',f'runs/{name}', cwd=clone)
    assert '162 cells are known from' in r.stdout and '--rerun runs them anew' in r.stdout

def test_other_settings_under_its_name_are_refused(clone):
    before = contents(clone)
    r = run('gpfq_sweep','--study',name,'--epochs','1', cwd=clone)
    assert r.returncode==2 and 'finished cells that this plan leaves out' in r.stderr and len(r.stderr.splitlines())==1
    assert contents(clone)==before
