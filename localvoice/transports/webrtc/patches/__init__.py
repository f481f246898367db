"""Where private parts of aiortc, aioice and pylibsrtp are used or replaced: a module for each protocol."""
