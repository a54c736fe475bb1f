"""Routes in the shapes of other systems: each is asked as that system's clients ask."""
