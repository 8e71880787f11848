"""What a process writes down of a training, so that two of them can be compared. It changes nothing unless told to."""
