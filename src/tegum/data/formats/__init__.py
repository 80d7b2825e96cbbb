"""Files of other libraries, each as an `ArrayFile`: arrays by name, checked before they are read."""
