project = "manual"
author = "Python Software Foundation"
release = "3.11.2"
