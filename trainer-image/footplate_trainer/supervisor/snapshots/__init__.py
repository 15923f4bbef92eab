"""Keeps what any code leaves in `FOOTPLATE_CHECKPOINT_DIR`, and puts it back before the next attempt.

    run-<n>-<uid>/
      attempts/<n>                                       an attempt's claim, as for checkpoints of our library
      snapshots/<attempt>-<number>/node-<r>-of-<n>.json  manifest: what node r's folder held
      snapshots/<attempt>-<number>/bad-<r>               node r found it damaged: it is never tried again
      snapshot-files/node-<r>/<sha256>                   contents, each sent once

A snapshot is complete when the manifests of all its nodes are there, and each is put when its contents are. A node
whose folder has changed, and come to rest, begins the next number; the others answer with what theirs holds, unless
it has changed since: then they begin the next. So what nodes write together is put back together. The last number of
an attempt, `99999999`, is that of the folders after the processes are gone.

Each node sends and deletes what is its own, under the claim of its attempt; contents that no manifest names are swept
by the same. A manifest is deleted before what it names.
"""
