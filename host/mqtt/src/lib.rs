//! The MQTT head: 3.1.1 and 5 for modules, devices, and open topics.
