"Two processes and one folder: what the first one makes stays whole, and the second is told so in one line."
import os, socket, subprocess, sys
from pathlib import Path
import papermill, pytest
from conftest import root
from gpfq_nb.store import close_cell, open_cell

scripts = Path(sys.executable).parent
busy = 'x is being written by another process, {} on {}: wait, or name another folder (out=, --out)\n'

def train(cwd, *args):
    "One epoch of training, as a shell would start it"
    command = [scripts/'gpfq_train', '--quiet', '--epochs', '1', *args]
    return subprocess.run(command, cwd=cwd, env=os.environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True)

def test_second_command_is_refused(tmp_path):
    first = open_cell(tmp_path/'x', 'train', {})
    second = train(tmp_path, '--out', 'x', '--force')
    said = busy.format(os.getpid(), socket.gethostname())
    assert second.returncode == 2 and second.stderr.endswith(said) and len(second.stderr.splitlines()) == 1
    close_cell(first, 'done')
    assert sorted(p.name for p in (tmp_path/'x').iterdir()) == ['params.json', 'result.json']

def test_default_folders_differ(tmp_path):
    first = open_cell(tmp_path/'runs'/'train', 'train', {})
    assert train(tmp_path).returncode == 0
    close_cell(first, 'done')
    assert all((tmp_path/'runs'/n/'result.json').exists() for n in ('train', 'train-2'))

def test_report_refuses_a_parameter_it_does_not_have(tmp_path):
    report = root/'nbs'/'cells'/'report.ipynb'
    with pytest.raises(papermill.PapermillExecutionError, match='no parameter studdy: choose from study'):
        papermill.execute_notebook(str(report), str(tmp_path/'out.ipynb'), dict(studdy='s'), progress_bar=False)
