"""Record what a training does, so that two processes can be compared. This changes nothing unless it is told to."""
