"""TR3D (Rukhovich et al. 2023, "TR3D: Towards Real-Time Indoor 3D Object Detection"): network, loss, decoding."""
