"""Bytes in use on a whole NVIDIA device, whoever holds them: NVML by ctypes; None where there is
none. The allocator's own counts do not see the driver's context, libraries or other processes."""
import ctypes


class _Memory(ctypes.Structure):
    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class Device:
    """One device, found by its UUID ("GPU-...") or PCI bus id."""

    def __init__(self, library, handle):
        self._library = library
        self._handle = handle

    @classmethod
    def find(cls, uuid=None, pci_bus_id=None):
        """None when NVML is absent or does not know the device."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
            if library.nvmlInit_v2() != 0:
                return None
        except (OSError, AttributeError):
            return None
        handle = ctypes.c_void_p()
        for name, value in (
            ("nvmlDeviceGetHandleByUUID", uuid),
            ("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id),
        ):
            find = getattr(library, name, None)
            if value and find and find(value.encode("ascii"), ctypes.byref(handle)) == 0:
                return cls(library, handle)
        return None

    def memory(self):
        """(used, total) bytes; None when NVML does not answer."""
        memory = _Memory()
        if self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)) != 0:
            return None
        return memory.used, memory.total


def cuda_bus_id(ordinal):
    """PCI bus id of a CUDA device as this process counts them; None without a driver. For
    frameworks that do not say it: the driver must have been started by them."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        device = ctypes.c_int()
        text = ctypes.create_string_buffer(32)
        if driver.cuDeviceGet(ctypes.byref(device), ctypes.c_int(ordinal)) != 0:
            return None
        if driver.cuDeviceGetPCIBusId(text, ctypes.c_int(32), device) != 0:
            return None
        return text.value.decode("ascii")
    except (OSError, AttributeError):
        return None


def cuda_devices_count():
    """As this process may see them, before a framework has; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
        return count.value
    except (OSError, AttributeError):
        return 0


def cuda_driver_version():
    """"12.8": the newest CUDA that the driver runs; None without a driver. By the driver's own
    library: what frameworks have for it is private, and goes away."""
    try:
        number = ctypes.c_int()
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
        return f"{number.value // 1000}.{number.value % 1000 // 10}"
    except (OSError, AttributeError):
        return None
