"""Why a training does not reproduce: what two runs of a script wrote down, compared."""
