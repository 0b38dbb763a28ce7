// All flows, one after another, against one program. The first ones find it untrained.

import './untrained.js';
import './embed.js';
import './classify.js';
import './train.js';
import './tasks.js';
import './heads.js';
import './server.js';
import './key.js';
import './docs.js';
import './keyboard.js';
import './appearance.js';
import './accessibility.js';
import './arithmetic.js';
