"""The workspace index: how long it takes to build, how large it is, how quickly it answers."""
