"The real notebooks of nbs/cells through papermill: a study of five cells, from training to the report."
from html.parser import HTMLParser
import nbformat, pytest, torch
from gpfq_nb.data import load_dataset
from gpfq_nb.files import file_hash
from gpfq_nb.log import read_tables
from gpfq_nb.models import load_model
from gpfq_nb.sweep import Study

@pytest.fixture(scope='module')
def study(tmp_path_factory):
    "Trained for two epochs, measured, quantized in three ways"
    s = Study('tiny', lrs=(1e-2,), bits=(3,), calib=128, variants=dict(default={}, paper=dict(preset='paper'), msq=dict(method='msq')),
        train=dict(epochs=2, batch_size=64), measure=dict(bits=3, draws=1, probes=2), root=str(tmp_path_factory.mktemp('runs')))
    assert set(s.run(workers=2, progress=False).state)=={'done'}
    return s

def top1(weights):
    "Accuracy of the network in a file, counted here"
    net,meta = load_model(weights)
    digits = load_dataset('digits', (meta['mean'],meta['std']))
    with torch.no_grad(): return (net(digits.normalize(digits.test.x)).argmax(1)==digits.test.y).double().mean().item()

def test_cells_leave_what_the_log_says(study):
    log = study.log().set_index('path')
    for t in study.tasks():
        if t.kind=='measure': continue
        row,made = log.loc[f'{t.kind}/{t.cell}'],t.out/('weights.safetensors' if t.kind=='train' else 'packed.safetensors')
        assert abs(top1(made) - (row.float_top1 if t.kind=='train' else row.quant_top1)) < 1e-9
        assert row.weights_sha256==file_hash((t.needs or t).out/'weights.safetensors')

def test_measures_are_those_of_the_weights(study):
    t, = [t for t in study.tasks() if t.kind=='measure']
    row = study.log().set_index('path').loc[t.path]
    net,_ = load_model(t.needs.out/'weights.safetensors')
    weights = torch.cat([p.detach().double().flatten() for p in net.parameters() if p.ndim>1])
    assert abs(row.norm - weights.norm().item()) < 1e-9 and row.hessian_top > 0 and row.distance > 0
    assert row.weights_sha256==file_hash(t.needs.out/'weights.safetensors')
    answers = read_tables(study.folder, 'disturbances.csv')
    assert answers.what.tolist()==['rounding','noise'] and (answers.kl > 0).all()

def test_executed_notebooks_are_whole(study):
    for t in study.tasks():
        nb = nbformat.read(t.out/'notebook.ipynb', 4)
        nbformat.validate(nb)
        assert all(c.execution_count for c in nb.cells if c.cell_type=='code')
        assert not [p for p in t.out.iterdir() if p.name[0]=='.']

def test_nothing_is_done_twice(study):
    before = {t.cell: (t.out/'result.json').stat().st_mtime_ns for t in study.tasks()}
    study.run(workers=2, progress=False)
    assert {t.cell: (t.out/'result.json').stat().st_mtime_ns for t in study.tasks()}==before

def test_report_shows_every_variant_and_figure(study):
    class Seen(HTMLParser):
        texts,pictures = [],0
        def handle_data(self, data): self.texts.append(data)
        def handle_starttag(self, tag, attrs): self.pictures += tag=='img' and dict(attrs)['src'].startswith('data:image/png')
    seen = Seen()
    seen.feed(study.report().read_text())
    assert set(study.variants) <= {t.strip() for t in seen.texts}
    want = {'training','drop_top1','drop_top5','size'} | {f'{k}_{v}' for k in ('std','error','histogram') for v in ('default','paper')}
    assert {p.stem for p in (study.folder/'figures').glob('*.png')}==want and seen.pictures==len(want)
