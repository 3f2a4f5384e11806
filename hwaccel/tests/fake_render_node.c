/* Preloaded: makes libva take any file for a render node, so that no device is needed to load the fake driver. */
int drmGetNodeTypeFromFd(int fd) { (void)fd; return 2; /* DRM_NODE_RENDER */ }
