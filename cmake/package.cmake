# Installation: filled in by the package issue below.
