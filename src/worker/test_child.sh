#!/bin/sh
# Stands in for a training process: does what the file `child.sh` in its data directory says. That file is read, not
# executed: a file just written can't always be executed at once (ETXTBSY).
while [ "$1" != --data-dir ]; do shift; done
data_dir=$2
. "$data_dir/child.sh"
