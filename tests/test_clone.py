"A committed study in a fresh clone, where its cells are not: every command shows it whole, and changes nothing."
import shutil
from importlib.metadata import entry_points
import pytest
from conftest import git, root

name = 'cifar10-resnet18'
scripts = {e.name: e for e in entry_points(group='console_scripts') if e.name.startswith('gpfq_')}

@pytest.fixture
def clone(tmp_path, monkeypatch):
    "A folder with what git has of the study, to work in"
    listed = git('ls-files','-z',f'runs/{name}')
    if not listed: pytest.skip('only known in a checkout')
    for f in filter(None, listed.split('\0')):
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/f, tmp_path/f)
    monkeypatch.chdir(tmp_path)
    return tmp_path

@pytest.fixture
def run(capfd):
    "Runs a command in this process: (exit status, standard output, standard error)"
    def run_command(command, *args):
        capfd.readouterr()
        try: code = scripts[command].load().run(list(args)) or 0
        except SystemExit as e: code = e.code or 0
        return code, *capfd.readouterr()
    return run_command

def contents(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}

@pytest.mark.parametrize('command', [('gpfq_report',f'runs/{name}'), ('gpfq_plots',f'runs/{name}'), ('gpfq_plots','runs')],
    ids=lambda c: ' '.join(c))
def test_committed_study_is_shown_from_its_log(clone, run, command):
    before = contents(clone)
    code,_,err = run(*command)
    assert (code,err)==(0,''), err
    after = contents(clone)
    assert {f: after.get(f) for f in before}==before
    new = set(after) - set(before)
    assert all(f.endswith('.lock') for f in new) or command==('gpfq_plots','runs'), new

def test_resuming_changes_nothing_and_says_what_it_would_run_anew(clone, run):
    before = contents(clone)
    code,out,err = run('gpfq_sweep','--resume',f'runs/{name}')
    assert (code,err)==(0,''), err
    assert '162 cells are known from' in out and '--rerun runs them anew' in out
    after = contents(clone)
    assert {f: after.get(f) for f in before}==before and all(f.endswith('.lock') for f in set(after) - set(before))

def test_other_settings_under_its_name_are_refused(clone, run):
    before = contents(clone)
    code,_,err = run('gpfq_sweep','--study',name,'--epochs','1')
    assert code==2 and 'finished cells that this plan leaves out' in err and len(err.splitlines())==1
    assert contents(clone)==before
