"A few of the kills of `make chaos`, on Dask; chapter 90 kills sweeps on processes."
import sys
from conftest import root

sys.path.insert(0, str(root/'tools'))
import chaos

def test_sweeps_survive_random_kills():
    found = chaos.main(kills=4, seed=1, cells=4, engines=['dask'], trials=False, most=2)
    assert found['killed']>=4 and found['cells done']>=4, found
    assert not any(found[k] for k in chaos.ERRORS), found
