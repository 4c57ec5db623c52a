// Put into pages whose picture is taken: a camera that shows a drawn person, and a microphone with a tone where
// that person speaks. The page that is photographed is the real one.
(({ wall, skin, hair, shirt, speaks }) => {
  const WIDTH = 640;
  const HEIGHT = 360;

  const oval = (context, colour, x, y, a, b) => {
    context.fillStyle = colour;
    context.beginPath();
    context.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
    context.fill();
  };

  function draw(context, time) {
    const sway = 3 * Math.sin(time / 900);
    const x = WIDTH / 2 + sway;
    const back = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
    back.addColorStop(0, wall[0]);
    back.addColorStop(1, wall[1]);
    context.fillStyle = back;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    // A window in the wall, a shelf below it.
    context.fillStyle = 'rgb(255 255 255 / 16%)';
    context.fillRect(60, 40, 110, 130);
    context.fillRect(470, 210, 130, 8);
    oval(context, hair, x, 152, 76, 88);
    oval(context, shirt, x, 372, 158, 116);
    context.fillStyle = skin;
    context.fillRect(x - 22, 210, 44, 50);
    oval(context, skin, x, 168, 56, 70);
    oval(context, hair, x, 112, 60, 32);
    oval(context, '#2b2422', x - 21, 166, 4.5, 5.5);
    oval(context, '#2b2422', x + 21, 166, 4.5, 5.5);
    context.strokeStyle = '#8c4a44';
    context.lineWidth = 4;
    context.lineCap = 'round';
    context.beginPath();
    context.arc(x, 188, 18, 0.25 * Math.PI, 0.75 * Math.PI);
    context.stroke();
  }

  function camera() {
    const canvas = document.createElement('canvas');
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext('2d');
    draw(context, 0);
    setInterval(() => draw(context, performance.now()), 100);
    return canvas.captureStream(10).getVideoTracks()[0];
  }

  function microphone() {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const volume = context.createGain();
    const out = context.createMediaStreamDestination();
    tone.frequency.value = 220;
    volume.gain.value = speaks ? 0.4 : 0;
    tone.connect(volume).connect(out);
    tone.start();
    return out.stream.getAudioTracks()[0];
  }

  navigator.mediaDevices.getUserMedia = ({ video, audio }) => Promise.resolve(
    new MediaStream([...(video ? [camera()] : []), ...(audio ? [microphone()] : [])]),
  );
})
