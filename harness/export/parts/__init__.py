"""What an exported file is put together from: real modules here, so that they are linted and tested as they stand.

``tracer`` stops a program at its system calls and strikes at one of them, ``order`` lets them through in a recorded
order, ``damage`` looks at what is left, ``reproduce`` runs and tells. Standard library only; they know nothing of the
project, for it is not there where they run. Names in capitals that a module does not define are the constants of one
reproduction, which stand above its code in the exported file.
"""
