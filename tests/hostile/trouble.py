def files(): pass
stopped = clock = log = files
