"""From a photo to the attributes of its faces: `pipeline` is the page to begin with."""
