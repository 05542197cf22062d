"""gpfq_plots on the folder of a study, with cells in it that are none of the study's."""
from gpfq_nb.reports import gpfq_plots
from gpfq_nb.files import write_json
from gpfq_nb.log import read_csv_log, read_log, write_log
from gpfq_nb.rows import example_result
from gpfq_nb.sweep import Study

def test_stray_cells(tmp_path):
    "A study's log has the study's cells, whatever lies below its folder"
    s = Study('s', root=str(tmp_path))
    [t] = s.train_tasks()
    write_json(t.out/'result.json', example_result('train', key='own'))
    s.save()
    s.log()
    write_json(s.folder/'extra'/'result.json', example_result('train', key='stray'))
    write_log(s.folder/'extra', read_log(s.folder/'extra'))
    gpfq_plots(str(s.folder))
    assert read_csv_log(s.folder/'log.csv').path.tolist() == [f'train/{t.cell}']
