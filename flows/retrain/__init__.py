"""Retraining while nobody looks: fetch, reproduce in a worktree, report, compare with the best models ever promoted,
promote only what is no worse. The rules for people: ``docs/how-to/retraining.md``.

    s3dnerf retrain                          # once, now
    s3dnerf retrain --cron "0 2 * * *"       # serve it as a Prefect deployment, every night at two
    prefect deploy --all                     # or as prefect.yaml has it, on a work pool

Reads a named branch of the repository, its raw folders (``flows/workspace.py``) and the DVC remote where there is one;
writes a branch ``retrain/<preset>/<time>`` with ``dvc.lock``, the report and the comparisons, which goes to the git
remote where there is one, and MLflow's registry. The working copy is never touched: work goes on in
``.worktrees/retrain``, which stays for the next run, so that only what is new is made. Never two at once: a file lock,
which the system lets go of when its holder dies. A failure at any point leaves the champion as it was: setting the
alias is the last act.

``once``: one retraining, its steps in their order · ``steps``: what each does · ``plan``: what was asked for ·
``branches``: what is trained and pushed · ``worktree``: git and dvc in the worktree · ``references``: the reports that
count · ``rescoring``: an earlier generator measured again · ``judging``: whether a challenger is no worse ·
``outcome``: how a run ended, and who is notified. None of them knows Prefect; the flow, whose tasks are these steps, is
in ``flows/deployment.py``.
"""
