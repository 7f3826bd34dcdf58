"""What `plot` draws: a file for each kind of picture, all of them rows of the table `kinds`."""
