"""Routes in the shapes of other systems, off by default: they translate requests and answers, and decide nothing."""
