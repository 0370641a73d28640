"""rclpy glue: parameters, QoS, conversion, diagnostics, clocks, running a node."""
