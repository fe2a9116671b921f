"""What every part of the library uses: rates, shapes, errors, processes, files from outside."""
