#!/bin/sh
# Train a change with one seed after another until the gate decides: exit status 0 keeps it, 1 discards it, 2 is an error.
# base.txt has the scores of the current training, one per line; train.py prints its score last.
train() {
    seed=$((seed + 1))
    python train.py --seed $seed > output.txt || exit 2
    tail -n 1 output.txt >> candidate.txt
}

seed=100
status=4
train
while [ $status = 4 ]; do
    train
    nondet gate base.txt candidate.txt --ledger gate.jsonl --name "${1:-candidate}"
    status=$?
done
exit $status
