"""Bring the log of an older study up to today's columns: what its settings say of each cell, and nothing that was measured.

    python tools/update_log.py runs/STUDY [...]

A log from before a setting had a column gets it from the study's plan, `study.json`: the same settings, read by today's classes.
Where the log says something itself, that must be what the plan says; otherwise nothing is written.
"""
import dataclasses, sys

import pandas as pd
from gpfq_nb.files import jsonable
from gpfq_nb.jobs import quantize_plan, train_plan
from gpfq_nb.log import COLUMNS, make_log, read_csv_log, write_log
from gpfq_nb.sweep import Study

def settings(task):
    "The settings of a cell, in the form of a result"
    if task.kind == 'train': return dict(training=dataclasses.asdict(train_plan(**task.params).config))
    plan = quantize_plan(**task.params)
    return settings(task.needs) | dict(config=dataclasses.asdict(plan.config), params=plan.params)

def columns(found):
    "The columns of the log that are settings"
    spec = {k: s.split()[1].split('.') for k,s in COLUMNS.items() if ' ' in s}
    return {k: found[part].get(name) for k,(part,*names) in spec.items() if part in found and names for name in names}

def update(folder):
    "Fill in what is missing; how many values"
    study = Study.load(folder)
    log = read_csv_log(study.folder/'log.csv')
    tasks,filled = {f'{t.kind}/{t.cell}': t for t in study.tasks()}, 0
    rows = log.to_dict('records')
    for row in rows:
        row['study'] = study.name
        want = columns(jsonable(settings(tasks[row['path']])))
        wanted = make_log([row | want]).iloc[0]                                # in the columns' types
        for k in want:
            if pd.isna(wanted[k]): continue                                        # the plan leaves it open
            if pd.isna(row[k]): filled += 1
            elif row[k] != wanted[k]: raise SystemExit(f"{folder}: {row['path']}: {k} is {row[k]} in the log and {wanted[k]} in the plan")
            row[k] = wanted[k]
    write_log(study.folder, make_log(rows))
    return filled

if __name__ == '__main__':
    if not sys.argv[1:]: sys.exit(__doc__)
    for folder in sys.argv[1:]: print(f'{folder}: {update(folder)} values filled in')
