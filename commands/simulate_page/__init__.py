"""What `python main.py simulate` shows and moves: the platforms' simulators behind one face, and the page over them."""
