"Every notebook runs from top to bottom; the ones in nbs/cells are papermill's to run."
import matplotlib.pyplot as plt, pytest
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.test import test_nb as run_notebook

cfg = get_config()
notebooks = sorted(p for p in nbglob(as_path=True) if p.parent.name!='cells')

@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.relative_to(cfg.nbs_path).as_posix())
def test_notebook(path, request):
    skip = set(cfg.tst_flags.split()) - ({'slow'} if request.config.getoption('--slow') else set())
    passed,_ = run_notebook(path.absolute(), skip_flags=skip, basepath=cfg.config_path)
    plt.close('all')
    assert passed, f'{path.name}: the failing cell is under "Captured stderr call"'
