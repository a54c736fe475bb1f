"""From bytes to aligned crops: decoding, detection, alignment and measures of quality."""
