"""What a study, outputs from elsewhere, or scores show, as frozen records."""
