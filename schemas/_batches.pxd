"""What other compiled modules know of records to be sent; see `schemas._batches`."""


cdef class Keyed:
    cdef readonly bytes key
    cdef readonly bytes value
    cdef readonly bytes state_key
