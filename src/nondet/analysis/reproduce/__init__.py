"""Why a training does not reproduce: compare what two runs of a script recorded."""
