"""What a study, outputs of others or scores answer, as frozen records."""
