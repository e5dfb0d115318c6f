"""What other compiled modules know of fetched records; see `schemas._fetched`."""

cdef struct Place:
    long long offset
    long long timestamp
    const unsigned char* key
    const unsigned char* value
    const unsigned char* headers
    const unsigned char* end
    Py_ssize_t key_size
    Py_ssize_t value_size


cdef class Records:
    cdef Place* places
    cdef Py_ssize_t count
    cdef list held

    cdef Records part(self, Py_ssize_t start, Py_ssize_t end)
    cdef record(self, Py_ssize_t at)
    cdef Py_ssize_t holder(self, Py_ssize_t at, Py_ssize_t otherwise)
