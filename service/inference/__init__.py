"""From a photo to what is said of its faces: `pipeline` is the page to begin with."""
