"""SGLang 0.5.23: tables built at load that grow on demand."""
